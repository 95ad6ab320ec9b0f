import { Console } from './console';
import { mount } from './mount';
import './styles.css';

mount(Console);
