import { mount } from '../mount';
import '../styles.css';
import './lab.css';
import { Lab } from './lab';

mount(Lab);
